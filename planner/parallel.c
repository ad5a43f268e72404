/* SPDX-License-Identifier: Apache-2.0 */
#include "parallel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { THREADS_MOST = 64 };

struct job {
    size_t count;
    atomic_size_t next;
    void (*work)(void *context, size_t i);
    void *context;
};

static void *run_worker(void *argument)
{
    struct job *job = argument;
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->count;)
        job->work(job->context, i);
    return NULL;
}

static int thread_count(int asked, size_t count)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = asked > 0 ? asked : processors > 0 ? (int)processors : 1;
    if (threads > THREADS_MOST)
        threads = THREADS_MOST;
    return (size_t)threads > count ? (int)count : threads;
}

void sp_parallel_for(int threads, size_t count, void (*work)(void *context, size_t i), void *context,
                     void (*done)(void *done_context, size_t begun), void *done_context)
{
    struct job job = {.count = count, .work = work, .context = context};
    pthread_t others[THREADS_MOST];
    int started = 0, wanted = thread_count(threads, count) - 1;
    while (started < wanted && pthread_create(&others[started], NULL, run_worker, &job) == 0)
        started++;
    for (size_t i; (i = atomic_fetch_add(&job.next, 1)) < count;) {
        work(context, i);
        if (done)
            done(done_context, i + 1);
    }
    for (int i = 0; i < started; i++)
        pthread_join(others[i], NULL);
}
