/* SPDX-License-Identifier: Apache-2.0 */
#include "walker.h"

void sp_cores_init(struct cores *cores, int count)
{
    pthread_mutex_init(&cores->lock, NULL);
    pthread_cond_init(&cores->left, NULL);
    cores->free = count;
}

void sp_cores_finish(struct cores *cores)
{
    pthread_cond_destroy(&cores->left);
    pthread_mutex_destroy(&cores->lock);
}

void sp_cores_enter(struct cores *cores)
{
    pthread_mutex_lock(&cores->lock);
    while (cores->free == 0)
        pthread_cond_wait(&cores->left, &cores->lock);
    cores->free--;
    pthread_mutex_unlock(&cores->lock);
}

void sp_cores_leave(struct cores *cores)
{
    pthread_mutex_lock(&cores->lock);
    cores->free++;
    pthread_cond_signal(&cores->left);
    pthread_mutex_unlock(&cores->lock);
}
