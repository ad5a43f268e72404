/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matrix product: from a BLAS found at run time, or our own. No header and no library is needed to build.
 */
#ifndef SLIMPIPE_EXECUTOR_HOST_BLAS_H
#define SLIMPIPE_EXECUTOR_HOST_BLAS_H

#include "kernels.h"
#include "slimpipe/status.h"

struct sp_host_math {
    const struct sp_host_kernels *kernels;
    sp_host_gemm *gemm;
    char blas[160]; /* for people: which matrix product this is */
};

/*
 * Chooses kernels and matrix product for the process; any number of threads may use the result at once. Call
 * it before threads start (it sets environment variables). The library stays loaded.
 *
 * kernels: name of a set; NULL: the fastest. library: NULL: OpenBLAS where it is found, else ours; "none":
 * ours; else a library with the CBLAS interface. SP_UNSUPPORTED: this processor does not run the set, or
 * there is none of that name. SP_INPUT: the named library cannot be loaded.
 *
 * A libblas.so.3 that is not OpenBLAS in disguise is the reference BLAS, which is slower than ours; it is
 * used only when named.
 */
enum sp_status sp_host_math_open(const char *kernels, const char *library, struct sp_host_math *ret_math,
                                 struct sp_error *error) SP_MUST_CHECK;

#endif
