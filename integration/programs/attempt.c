/* Makes system calls as its arguments say, each in a child, and prints what came of each: "ok",
 * "errno N" or "signal N". For the seccomp profiles' tests: what is refused is really attempted.
 *
 * An argument is ABI:NUMBER[:ARGUMENT]..., ABI being "native" (x32 numbers too) or "i386". The
 * argument "@" is the address of a page of zeros below 4 GiB. x86-64 only. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void *zeros;

static long native(long number, long *a)
{
	long result;
	register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* The entry of 32-bit programs, open to 64-bit ones as well. */
static long i386(long number, long *a)
{
	long result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
			 : "r8", "r9", "r10", "r11", "memory");
	return (int)result;
}

static long call(char *words)
{
	long a[6] = {0}, number;
	int at = 0, is_native;
	char *word = strtok(words, ":");

	is_native = word && !strcmp(word, "native");
	word = strtok(NULL, ":");
	if (!word)
		exit(2);
	number = (long)strtoull(word, NULL, 0);
	while (at < 6 && (word = strtok(NULL, ":")))
		a[at++] = *word == '@' ? (long)zeros : (long)strtoull(word, NULL, 0);
	return is_native ? native(number, a) : i386(number, a);
}

int main(int count, char **words)
{
	struct rlimit none = {0, 0};

	setrlimit(RLIMIT_CORE, &none);
	zeros = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	for (int at = 1; at < count; at++) {
		int status, pair[2];
		long result = 0;
		pid_t child, parent = getpid();

		if (pipe(pair) || (child = fork()) < 0)
			return 1;
		if (!child) {
			result = call(words[at]);
			/* A call that makes a process returns twice. */
			if (getppid() == parent && write(pair[1], &result, sizeof result) < 0)
				_exit(1);
			_exit(0);
		}
		close(pair[1]);
		if (waitpid(child, &status, 0) != child)
			return 1;
		if (WIFSIGNALED(status))
			printf("signal %d\n", WTERMSIG(status));
		else if (read(pair[0], &result, sizeof result) != sizeof result)
			printf("nothing, status %d\n", WEXITSTATUS(status));
		else if (result < 0 && result > -4096)
			printf("errno %ld\n", -result);
		else
			printf("ok\n");
		close(pair[0]);
		fflush(stdout);
	}
	return 0;
}
