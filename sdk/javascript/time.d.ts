/** Nanoseconds since 1970-01-01T00:00:00Z, in 64 bits. */
export type Time = bigint;
/** The time of a date. Throws a RangeError for one that 64 bits do not hold (outside 1677 to 2262). */
export function timeOf(date: Date): Time;
/** The date of a time, rounded down to a millisecond. */
export function dateOf(time: Time): Date;
/** The time as RFC 3339 in UTC, with up to nine digits of a second. */
export function formatTime(time: Time): string;
/** The time of a text of RFC 3339. Throws a TypeError for any other text. */
export function parseTime(text: string): Time;
