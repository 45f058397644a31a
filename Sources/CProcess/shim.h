#include <sys/prctl.h>

/// prctl(2) takes any number of arguments in C, which Swift cannot call.
///
/// Other processes of the same user may no longer attach to this one or read its memory, /proc/PID/mem and the like, and
/// it leaves no core file. The kernel takes it back when another program is executed.
static inline int ecard_refuse_inspection(void) {
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
