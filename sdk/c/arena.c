// The arena: chunks of memory that are given out piece by piece and given back at once.
#include "reflow.h"

#include <stdlib.h>
#include <string.h>

struct chunk {
  struct chunk *earlier;
  size_t size;
  size_t used;
  _Alignas(max_align_t) uint8_t bytes[];
};

enum { FIRST_CHUNK = 64 * 1024, ALIGNMENT = 16 };

static struct chunk *current;
// Whether the last call is over: the host has read its answer when it next allocates or calls.
static bool over;
static void (*at_leave)(void);

static void *take(size_t size) {
  size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  if (!current || current->size - current->used < size) {
    size_t wanted = current ? 2 * current->size : FIRST_CHUNK;
    if (wanted > 16 * 1024 * 1024) wanted = 16 * 1024 * 1024;
    if (wanted < size) wanted = size;
    struct chunk *chunk = malloc(sizeof(struct chunk) + wanted);
    if (!chunk) abort();
    chunk->earlier = current;
    chunk->size = wanted;
    chunk->used = 0;
    current = chunk;
  }
  void *taken = current->bytes + current->used;
  current->used += size;
  return taken;
}

// Keeps the first chunk, which most calls need no more than.
static void empty(void) {
  while (current && current->earlier) {
    struct chunk *earlier = current->earlier;
    free(current);
    current = earlier;
  }
  if (current) current->used = 0;
  over = false;
}

void *reflow_alloc(size_t size) { return take(size); }

reflow_mark reflow_get_mark(void) {
  reflow_mark mark = {current, current ? current->used : 0};
  return mark;
}

void reflow_release(reflow_mark mark) {
  while (current != mark.chunk && current->earlier) {
    struct chunk *earlier = current->earlier;
    free(current);
    current = earlier;
  }
  // Without a chunk at the time of the mark, the first one is kept.
  if (current) current->used = current == mark.chunk ? mark.used : 0;
}

// How the host allocates. It has the size in front, because a piece that grows is copied.
void *reflow_arena_realloc(void *earlier, size_t size) {
  if (over) empty();
  uint8_t *taken = take(size + ALIGNMENT);
  memcpy(taken, &size, sizeof size);
  if (earlier) {
    size_t before;
    memcpy(&before, (uint8_t *)earlier - ALIGNMENT, sizeof before);
    memcpy(taken + ALIGNMENT, earlier, before < size ? before : size);
  }
  return taken + ALIGNMENT;
}

void reflow_arena_free(void *memory) { (void)memory; }

void reflow_enter(void) {
  if (over) empty();
}

void reflow_at_leave(void (*function)(void)) { at_leave = function; }

void reflow_leave(void) {
  if (at_leave) at_leave();
  over = true;
}
