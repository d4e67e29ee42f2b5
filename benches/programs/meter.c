/*
 * meter: runs commands one at a time and says what each cost.
 *
 * usage: meter LOG TIMEOUT_MS [DIR COUNT]
 *
 * Why a process of its own: the kernel carries a process's peak memory over from before its exec
 * (exec_mmap, fs/exec.c, keeps the old image's high-water mark in ru_maxrss), so a large measuring
 * program would put a floor under every figure. This one is static and holds a few dozen pages.
 * And a mount namespace belongs to a process: with DIR and COUNT the meter measures in a private one
 * that has COUNT more bind mounts under DIR, next to another meter that has none.
 *
 * Input, repeated: a 32-bit length, then that many bytes of arguments, each ended by NUL.
 * Output, a line for each: wall_ns user_us system_us max_rss_kib minor_faults wait_status timed_out
 *
 * The command has no standard input; its output goes to LOG, which holds the latest command's.
 * It gets a process group of its own (an interrupt at the terminal is not for it) and default
 * signals. When its time is over its group is killed. getrusage(2) says what wait4(2) reports: the
 * command and those of its descendants that it waited for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIDFD_OPEN 434 /* linux 5.3; the same number on every architecture */
#define ARGUMENTS_MAX 64
#define FRAME_MAX 16384

static char *environment[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", NULL
};

static void die(const char *what)
{
	fprintf(stderr, "meter: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t in_us(struct timeval t)
{
	return t.tv_sec * 1000000LL + t.tv_usec;
}

/* Whether `size` bytes were read: 0 at a clean end of input. */
static int read_whole(void *buffer, size_t size)
{
	size_t have = 0;
	while (have < size) {
		ssize_t n = read(0, (char *)buffer + have, size - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return 0;
		have += n;
	}
	return 1;
}

static void add_mounts(const char *dir, int count)
{
	char source[512], target[512];
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("private mount namespace");
	snprintf(source, sizeof source, "%s/source", dir);
	if (mkdir(source, 0755) && errno != EEXIST)
		die(source);
	for (int i = 0; i < count; i++) {
		snprintf(target, sizeof target, "%s/%d", dir, i);
		if (mkdir(target, 0755) && errno != EEXIST)
			die(target);
		if (mount(source, target, NULL, MS_BIND, NULL))
			die(target);
	}
}

static void measure(char **argv, int log, int timeout_ms)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	pid_t pid;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attributes);
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setpgroup(&attributes, 0);
	posix_spawnattr_setflags(&attributes,
				 POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, log, 1);
	posix_spawn_file_actions_adddup2(&files, log, 2);
	if (ftruncate(log, 0))
		die("log");

	int64_t begin = now_ns();
	int failed = posix_spawnp(&pid, argv[0], &files, &attributes, argv, environment);
	if (failed) {
		dprintf(log, "%s: %s\n", argv[0], strerror(failed));
		printf("0 0 0 0 0 %d 0\n", 127 << 8);
		return;
	}
	int pidfd = syscall(PIDFD_OPEN, pid, 0);
	if (pidfd < 0)
		die("pidfd_open");
	struct pollfd end = { .fd = pidfd, .events = POLLIN };
	int timed_out = poll(&end, 1, timeout_ms) == 0;
	if (timed_out)
		kill(-pid, SIGKILL);
	struct rusage used;
	int status;
	while (wait4(pid, &status, 0, &used) < 0)
		if (errno != EINTR)
			die("wait4");
	int64_t wall = now_ns() - begin;
	close(pidfd);
	posix_spawn_file_actions_destroy(&files);
	posix_spawnattr_destroy(&attributes);
	printf("%lld %lld %lld %ld %ld %d %d\n", (long long)wall, (long long)in_us(used.ru_utime),
	       (long long)in_us(used.ru_stime), used.ru_maxrss, used.ru_minflt, status, timed_out);
}

int main(int argc, char **argv)
{
	static char frame[FRAME_MAX + 1];
	char *arguments[ARGUMENTS_MAX + 1];
	uint32_t size;

	if (argc != 3 && argc != 5) {
		fprintf(stderr, "usage: meter LOG TIMEOUT_MS [DIR COUNT]\n");
		return 2;
	}
	int log = open(argv[1], O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0)
		die(argv[1]);
	if (argc == 5)
		add_mounts(argv[3], atoi(argv[4]));
	while (read_whole(&size, sizeof size)) {
		if (size == 0 || size > FRAME_MAX || !read_whole(frame, size))
			return 1;
		frame[size] = 0;
		int count = 0;
		for (char *at = frame; at < frame + size && count < ARGUMENTS_MAX; at += strlen(at) + 1)
			arguments[count++] = at;
		arguments[count] = NULL;
		measure(arguments, log, atoi(argv[2]));
		fflush(stdout);
	}
	return 0;
}
