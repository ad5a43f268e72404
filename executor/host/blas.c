/* SPDX-License-Identifier: Apache-2.0 */
#include "blas.h"

#include <assert.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the CBLAS interface. */
enum { ROW_MAJOR = 101, NOT_TRANSPOSED = 111, TRANSPOSED = 112 };
typedef void cblas_sgemm_function(int order, int transposed_a, int transposed_b, int m, int n, int k,
                                  float alpha, const float *a, int lda, const float *b, int ldb, float beta,
                                  float *c, int ldc);

/* The one library of the process, as sp_host_gemm has no place for it. Set before threads start. */
static cblas_sgemm_function *loaded_sgemm;

static int dimension(int64_t value)
{
    assert(value <= INT_MAX);
    return (int)value;
}

static void blas_gemm(int64_t rows, int64_t columns, int64_t depth, float alpha, struct sp_host_matrix a,
                      struct sp_host_matrix b, float beta, float *c, int64_t c_pitch)
{
    if (rows == 0 || columns == 0)
        return;
    loaded_sgemm(ROW_MAJOR, a.transposed ? TRANSPOSED : NOT_TRANSPOSED,
                 b.transposed ? TRANSPOSED : NOT_TRANSPOSED, dimension(rows), dimension(columns),
                 dimension(depth), alpha, a.data, dimension(a.pitch), b.data, dimension(b.pitch), beta, c,
                 dimension(c_pitch));
}

/*
 * OpenBLAS reads these when it is loaded. It takes a processor newer than itself for a Prescott and is then
 * five times slower (OpenBLAS issue 4267), so it is told what the processor can do. Devices are threads of
 * ours, so it starts none. What the user has set stays.
 */
static void prepare_environment(void)
{
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
#if defined(SP_HOST_X86)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        setenv("OPENBLAS_CORETYPE", __builtin_cpu_is("amd") ? "Zen" : "Haswell", 0);
#endif
}

/* dlsym gives a data pointer, which ISO C does not convert to a function's. */
static void find_function(void *library, const char *name, void *ret_function, size_t size)
{
    void *symbol = dlsym(library, name);
    memcpy(ret_function, &symbol, size);
}

/* Fills *ret_math when the library has what we need; only_openblas: and is OpenBLAS. */
static bool use_library(const char *name, bool only_openblas, struct sp_host_math *ret_math)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return false;
    cblas_sgemm_function *sgemm;
    void (*set_threads)(int count);
    char *(*get_config)(void);
    find_function(library, "cblas_sgemm", &sgemm, sizeof sgemm);
    find_function(library, "openblas_set_num_threads", &set_threads, sizeof set_threads);
    find_function(library, "openblas_get_config", &get_config, sizeof get_config);
    if (!sgemm || (only_openblas && !set_threads)) {
        dlclose(library);
        return false;
    }
    if (set_threads)
        set_threads(1);
    loaded_sgemm = sgemm;
    ret_math->gemm = blas_gemm;
    snprintf(ret_math->blas, sizeof ret_math->blas, "%.60s%s%.90s", name, get_config ? ": " : "",
             get_config ? get_config() : "");
    return true;
}

static void use_own(struct sp_host_math *ret_math)
{
    ret_math->gemm = ret_math->kernels->gemm;
    snprintf(ret_math->blas, sizeof ret_math->blas, "own, %s", ret_math->kernels->name);
}

static enum sp_status choose_gemm(const char *library, struct sp_host_math *math, struct sp_error *error)
{
    static const char *const candidates[] = {"libopenblas.so.0", "libopenblas.so", "libblas.so.3"};
    prepare_environment();
    if (library && strcmp(library, "none") != 0)
        return use_library(library, false, math)
                   ? SP_OK
                   : sp_error_set(error, SP_INPUT, "BLAS library '%s' is not there or has no cblas_sgemm",
                                  library);
    for (size_t i = 0; !library && i < sizeof candidates / sizeof *candidates; i++)
        if (use_library(candidates[i], true, math))
            return SP_OK;
    use_own(math);
    return SP_OK;
}

enum sp_status sp_host_math_open(const char *kernels, const char *library, struct sp_host_math *ret_math,
                                 struct sp_error *error)
{
    struct sp_host_math math = {.kernels = kernels ? sp_host_kernels_find(kernels) : sp_host_kernels_best()};
    if (!math.kernels)
        return sp_error_set(error, SP_UNSUPPORTED, "kernels '%s' are unknown or not for this processor",
                            kernels);
    enum sp_status status = choose_gemm(library, &math, error);
    if (status == SP_OK)
        *ret_math = math;
    return status;
}
