// Times of the contract: nanoseconds since 1970-01-01T00:00:00Z, as a bigint of 64 bits.
const NANOSECONDS = 1_000_000n;
const RFC_3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/;

export function timeOf(date) {
    const milliseconds = date.getTime();
    if (Number.isNaN(milliseconds)) throw new RangeError('the date is invalid');
    return bounded(BigInt(milliseconds) * NANOSECONDS);
}

export function dateOf(time) {
    return new Date(Number(floorDivide(time, NANOSECONDS)));
}

export function formatTime(time) {
    const seconds = floorDivide(time, 1_000_000_000n);
    const fraction = String(time - seconds * 1_000_000_000n).padStart(9, '0').replace(/0+$/, '');
    const whole = new Date(Number(seconds) * 1000).toISOString().replace('.000Z', '');
    return fraction === '' ? `${whole}Z` : `${whole}.${fraction}Z`;
}

export function parseTime(text) {
    const parts = RFC_3339.exec(text);
    const milliseconds = parts === null ? NaN : Date.parse(`${parts[1]}${parts[3]}`);
    if (parts === null || Number.isNaN(milliseconds)) throw new TypeError(`${JSON.stringify(text)} is not a time of RFC 3339`);
    return bounded(BigInt(milliseconds) * NANOSECONDS + BigInt((parts[2] ?? '').padEnd(9, '0')));
}

/** Rounds down, also below zero. */
function floorDivide(number, divisor) {
    const quotient = number / divisor;
    return number % divisor < 0n ? quotient - 1n : quotient;
}

function bounded(time) {
    if (BigInt.asIntN(64, time) !== time) throw new RangeError('the time is outside the years 1677 to 2262');
    return time;
}
