/**
 * Adds to a counter. A name consists of lower-case letters, digits and `_`; the host adds the plugin's name. A plugin can have 100 names,
 * each of one kind.
 */
export function count(name: string, by?: number | bigint): void;
/** Sets a gauge. */
export function gauge(name: string, value: number): void;
/** Adds an observation to a histogram, for example a duration in seconds. */
export function observe(name: string, value: number): void;
