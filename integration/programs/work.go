// Ordinary work of a Go program, for the seccomp profiles' tests: the scheduler's threads, the
// garbage collector, files, a child process; with the argument "network" also HTTP over loopback.
// Prints one line when all of it worked, and ends with status 1 at the first thing that did not.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "work: %s: %v\n", what, err)
		os.Exit(1)
	}
}

// Threads: goroutines that block in system calls and that do not.
func goroutines() {
	var group sync.WaitGroup
	sums := make(chan byte, 64)
	for n := 0; n < 64; n++ {
		group.Add(1)
		go func(n int) {
			defer group.Done()
			runtime.LockOSThread()
			sum := sha256.Sum256(make([]byte, 1<<14+n))
			time.Sleep(time.Millisecond)
			sums <- sum[0]
		}(n)
	}
	group.Wait()
	if len(sums) != 64 {
		must("goroutines", fmt.Errorf("%d of 64 ended", len(sums)))
	}
}

// Memory that is handed back to the kernel.
func garbage() {
	var keep [][]byte
	for n := 0; n < 200; n++ {
		keep = append(keep[n%2:], make([]byte, 1<<18))
	}
	keep = nil
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	if stats.NumGC == 0 {
		must("garbage", fmt.Errorf("never collected"))
	}
}

func files() {
	dir, err := os.MkdirTemp("", "work")
	must("a directory", err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "a")
	must("write", os.WriteFile(path, []byte("text"), 0o600))
	must("rename", os.Rename(path, path+"b"))
	text, err := os.ReadFile(path + "b")
	must("read", err)
	if string(text) != "text" {
		must("read", fmt.Errorf("got %q", text))
	}
	names, err := os.ReadDir(dir)
	must("list", err)
	if len(names) != 1 {
		must("list", fmt.Errorf("%d names", len(names)))
	}
}

func child() {
	output, err := exec.Command("/bin/sh", "-c", "echo child").Output()
	must("a child", err)
	if string(output) != "child\n" {
		must("a child", fmt.Errorf("said %q", output))
	}
}

func network() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must("listen", err)
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	var group sync.WaitGroup
	for n := 0; n < 20; n++ {
		group.Add(1)
		go func() {
			defer group.Done()
			reply, err := http.Post("http://"+listener.Addr().String(), "text/plain", strings.NewReader("echo"))
			must("post", err)
			defer reply.Body.Close()
			text, err := io.ReadAll(reply.Body)
			must("reply", err)
			if string(text) != "echo" {
				must("reply", fmt.Errorf("%q", text))
			}
		}()
	}
	group.Wait()
	_, err = net.Interfaces()
	must("interfaces", err)
	_, err = net.LookupHost("localhost")
	must("look up", err)
}

func main() {
	goroutines()
	garbage()
	files()
	child()
	if len(os.Args) > 1 && os.Args[1] == "network" {
		network()
	}
	fmt.Println("go works")
}
