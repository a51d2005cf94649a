/* A part of a kernel's work, which the session's threads call with each index. */
#ifndef CYBERSOLVE_TASK_H
#define CYBERSOLVE_TASK_H

#include <stddef.h>

typedef void (*Task)(void *work, size_t index);

#endif
