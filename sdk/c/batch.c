// Batches of events.
#include "reflow.h"

uint32_t reflow_batch_len(reflow_batch batch) { return reflow_storage_batch_method_event_batch_len(batch); }

static bool column(reflow_batch batch, const char *field, uint8_t tag, reflow_storage_batch_column_t *found,
                   reflow_error *error) {
  reflow_string name = reflow_text(field);
  plugin_list_string_t names = {&name, 1};
  reflow_storage_batch_list_column_t columns;
  reflow_string problem;
  if (!reflow_storage_batch_method_event_batch_columns(batch, &names, &columns, &problem)) {
    return reflow_fail(error, REFLOW_OTHER, "%.*s", REFLOW_ARG(problem));
  }
  *found = columns.ptr[0];
  if (found->tag != tag) {
    return reflow_fail(error, REFLOW_OTHER, "the field `%s` has values of another type; see wit/deps/storage/batch.wit", field);
  }
  return true;
}

bool reflow_batch_texts(reflow_batch batch, const char *field, reflow_texts *texts, reflow_error *error) {
  reflow_storage_batch_column_t found;
  if (!column(batch, field, REFLOW_STORAGE_BATCH_COLUMN_TEXTS, &found, error)) return false;
  *texts = found.val.texts;
  return true;
}

reflow_string reflow_text_at(const reflow_texts *texts, size_t index) {
  size_t start = index ? texts->ends.ptr[index - 1] : 0;
  reflow_string text = {texts->text.ptr + start, texts->ends.ptr[index] - start};
  return text;
}

bool reflow_batch_integers(reflow_batch batch, const char *field, plugin_list_s64_t *integers, reflow_error *error) {
  reflow_storage_batch_column_t found;
  if (!column(batch, field, REFLOW_STORAGE_BATCH_COLUMN_INTEGERS, &found, error)) return false;
  *integers = found.val.integers;
  return true;
}

bool reflow_batch_uuids(reflow_batch batch, const char *field, reflow_uuid **uuids, reflow_error *error) {
  reflow_storage_batch_column_t found;
  if (!column(batch, field, REFLOW_STORAGE_BATCH_COLUMN_UUIDS, &found, error)) return false;
  // Two numbers per row, like the struct.
  *uuids = (reflow_uuid *)found.val.uuids.ptr;
  return true;
}
