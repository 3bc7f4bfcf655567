/* The process that holds a pod's namespaces open: it waits, reaps orphans and ends on SIGTERM or SIGINT. */
#include <signal.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal) { _exit(signal == SIGINT || signal == SIGTERM ? 0 : 1); }
static void reap(int signal) { (void)signal; while (waitpid(-1, 0, WNOHANG) > 0) { } }

int main(void) {
    struct sigaction action = { 0 };
    action.sa_handler = end;
    if (sigaction(SIGINT, &action, 0) < 0 || sigaction(SIGTERM, &action, 0) < 0) return 1;
    action.sa_handler = reap;
    action.sa_flags = SA_NOCLDSTOP;
    if (sigaction(SIGCHLD, &action, 0) < 0) return 1;
    for (;;) pause();
}
