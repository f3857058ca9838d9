/** A setting of `[plugins.NAME.config]`, or `undefined` when it is not set. */
export function get(name: string): unknown;
/** The same as JSON, where numbers have all of their digits. */
export function json(name: string): string | undefined;
/** The names of the settings, in order. */
export function names(): string[];
