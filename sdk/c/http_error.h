// The errors of wasi:http, within the SDK.
#ifndef REFLOW_HTTP_ERROR_H
#define REFLOW_HTTP_ERROR_H

#include "http.h"

/// Sets the error for a code of wasi:http, and returns false.
bool reflow_http_failed(const wasi_http_types_error_code_t *code, const char *method, reflow_string origin, reflow_error *error);

#endif
