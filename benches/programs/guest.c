/*
 * guest: the program inside every measured container.
 *
 * `true` ends at once with status 0; `true pause` sleeps until it is killed. Static and without
 * output, so that what is measured is the runtime and not the program.
 */
#include <unistd.h>

int main(int argc, char **argv)
{
	(void)argv;
	while (argc > 1)
		pause();
	return 0;
}
