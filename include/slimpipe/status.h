/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results and errors.
 *
 * Every fallible function returns an enum sp_status and takes a caller-owned struct sp_error last. Results
 * (`ret_*`) are untouched on failure, the error is untouched on success. The function that decides the error
 * writes the message; everyone above passes the status on. Libraries never print and never exit.
 */
#ifndef SLIMPIPE_STATUS_H
#define SLIMPIPE_STATUS_H

/* name, text for people */
#define SP_STATUS_LIST(X)                                                                                    \
    X(OK, "ok")                                                                                              \
    X(INPUT, "bad input")         /* a file, value or option that breaks a stated rule */                    \
    X(INFEASIBLE, "no answer")    /* well-formed, but nothing satisfies it (memory cap, deadlock) */         \
    X(UNSUPPORTED, "unsupported") /* well-formed, but this build or function does not do it */               \
    X(MEMORY, "out of memory")    /* an allocation failed */                                                 \
    X(IO, "input/output error")   /* a file or stream failed */                                              \
    X(SOLVER, "solver failed")    /* GLPK returned something that is no answer */                            \
    X(DEVICE, "device failed")    /* a GPU, a rank or a transport failed */                                  \
    X(STOPPED, "stopped")         /* the user or a time limit ended the work */

enum sp_status {
#define X(name, text) SP_##name,
    SP_STATUS_LIST(X)
#undef X
};

#define SP_MUST_CHECK            __attribute__((warn_unused_result))
#define SP_PRINTF(string, first) __attribute__((format(printf, string, first)))

struct sp_error {
    enum sp_status status;
    char source[256];  /* file or stream that the error is in; empty where there is none */
    char path[256];    /* JSON path such as `$.stages[3].device`; empty where there is none */
    int line, column;  /* 1-based place in source; 0 where unknown */
    char message[768]; /* one line: what is wrong and what was expected, no newline */
};

/* "ok", "bad input", ... */
const char *sp_status_text(enum sp_status status);

/*
 * Fills *error (which may be NULL) with status and message, leaves the place empty, and returns status, so
 * that a function can end with `return sp_error_set(error, SP_INPUT, "…")`.
 */
enum sp_status sp_error_set(struct sp_error *error, enum sp_status status, const char *format, ...)
    SP_PRINTF(3, 4);

/*
 * Writes the error as one line into text: `source:line:column: path: message`, leaving out what is empty.
 * Always ends with a 0 byte; size must be at least 1. Returns text.
 */
char *sp_error_text(const struct sp_error *error, char *text, unsigned long size);

#endif
