/**
 * Like `fetch`, with a time limit in milliseconds until there is an answer: 4000 unless given, which is less than the host allows a call.
 * Throws Unavailable when there is none. An answer with any status is returned. The world must import `wasi:http/outgoing-handler`.
 */
export function request(url: string, options?: RequestInit, limits?: { timeout?: number }): Promise<Response>;
