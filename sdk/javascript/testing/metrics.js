// The host's metrics, kept in memory: sums of counters, the last value of gauges, all observations.
export const metrics = new Map();

export const count = (name, by) => metrics.set(name, (metrics.get(name) ?? 0n) + by);
export const gauge = (name, value) => metrics.set(name, value);
export const observe = (name, value) => metrics.set(name, [...(metrics.get(name) ?? []), value]);
