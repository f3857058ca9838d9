/** The current value of a secret. Read it each time that it is needed, because the operator may replace it. */
export function get(label: string): Uint8Array;
/** The same as text. */
export function text(label: string): string;
