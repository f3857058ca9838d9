// Bodies as JSON, which is Reflow's own, and JSON as bodies, without loss. Needs the line `import reflow:capabilities/render@0.1.1;` in
// wit/world.wit.
#ifndef REFLOW_RENDER_H
#define REFLOW_RENDER_H

#include "reflow.h"

/// Concatenated bytes: body number i ends at `ends.ptr[i]`.
typedef reflow_storage_batch_blobs_t reflow_blobs;

/// Concatenates bodies.
static inline reflow_blobs reflow_join(const reflow_bytes *bodies, size_t count) {
  reflow_buffer data = {0};
  reflow_blobs joined;
  joined.ends.ptr = (uint32_t *)reflow_alloc(count * sizeof *joined.ends.ptr);
  joined.ends.len = count;
  for (size_t i = 0; i < count; i++) {
    reflow_append(&data, bodies[i].ptr, bodies[i].len);
    joined.ends.ptr[i] = (uint32_t)data.len;
  }
  joined.data = reflow_bytes_of(&data);
  return joined;
}
/// Body number `index`.
static inline reflow_bytes reflow_body_at(const reflow_blobs *bodies, size_t index) {
  size_t start = index ? bodies->ends.ptr[index - 1] : 0;
  reflow_bytes body = {bodies->data.ptr + start, bodies->ends.ptr[index] - start};
  return body;
}

/// One JSON object for each body of a header, which has no events; reflow_text_at gets one.
static inline bool reflow_headers_to_json(reflow_blobs *bodies, reflow_texts *json, reflow_error *error) {
  reflow_string problem;
  return reflow_capabilities_render_headers_to_json(bodies, json, &problem) ||
         reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%.*s", REFLOW_ARG(problem));
}
/// One body for each JSON object. Fails on what is not a header.
static inline bool reflow_headers_from_json(reflow_texts *json, reflow_blobs *bodies, reflow_error *error) {
  reflow_string problem;
  return reflow_capabilities_render_headers_from_json(json, bodies, &problem) ||
         reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%.*s", REFLOW_ARG(problem));
}
/// One JSON object for each body of an event. For those of a batch, its column `json` is cheaper.
static inline bool reflow_events_to_json(reflow_blobs *bodies, reflow_texts *json, reflow_error *error) {
  reflow_string problem;
  return reflow_capabilities_render_events_to_json(bodies, json, &problem) ||
         reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%.*s", REFLOW_ARG(problem));
}
/// One body for each JSON object. Fails on what is not an event.
static inline bool reflow_events_from_json(reflow_texts *json, reflow_blobs *bodies, reflow_error *error) {
  reflow_string problem;
  return reflow_capabilities_render_events_from_json(json, bodies, &problem) ||
         reflow_fail(error, REFLOW_INVALID_ARGUMENT, "%.*s", REFLOW_ARG(problem));
}

#endif
