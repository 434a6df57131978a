/* Counts every call that takes memory, whoever makes it; loaded before all else by LD_PRELOAD. */
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ulong taken;

unsigned long dipper_allocations(void) { return atomic_load(&taken); }

void *malloc(size_t size) { atomic_fetch_add(&taken, 1); return __libc_malloc(size); }
void *calloc(size_t count, size_t size) { atomic_fetch_add(&taken, 1); return __libc_calloc(count, size); }
void *realloc(void *old, size_t size) { atomic_fetch_add(&taken, 1); return __libc_realloc(old, size); }
void *memalign(size_t edge, size_t size) { atomic_fetch_add(&taken, 1); return __libc_memalign(edge, size); }
void *aligned_alloc(size_t edge, size_t size) { atomic_fetch_add(&taken, 1); return __libc_memalign(edge, size); }
int posix_memalign(void **found, size_t edge, size_t size) {
    atomic_fetch_add(&taken, 1);
    *found = __libc_memalign(edge, size);
    return *found ? 0 : 12;
}
