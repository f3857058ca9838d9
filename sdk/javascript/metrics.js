// The plugin's own metrics.
import { count as add, gauge, observe } from 'reflow:capabilities/metrics';

export { gauge, observe };

export function count(name, by = 1) {
    add(name, BigInt(by));
}
