// How Node.js loads a plugin: the host's interfaces are those of this folder, and types are removed.
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const FAKES = { 'reflow:capabilities/': './', 'reflow:storage/': './', 'reflow:package': './package' };

export async function resolve(name, context, next) {
    for (const [prefix, folder] of Object.entries(FAKES)) {
        if (!name.startsWith(prefix)) continue;
        const url = new URL(`${folder}${name.slice(prefix.length)}.js`, import.meta.url);
        if (!existsSync(url)) throw new Error(`there is no stand-in for ${name} in ${fileURLToPath(new URL('.', import.meta.url))}`);
        return { url: url.href, shortCircuit: true };
    }
    if (name.endsWith('.js') && name.startsWith('.') && context.parentURL?.endsWith('.ts')) {
        // A module in TypeScript imports others by the names of what they are compiled to.
        const url = new URL(name.replace(/\.js$/, '.ts'), context.parentURL);
        if (existsSync(url)) return next(url.href, context);
    }
    return next(name, context);
}

export async function load(url, context, next) {
    if (!url.endsWith('.ts')) return next(url, context);
    const file = fileURLToPath(url);
    const { code, map } = await (await typescript()).transform(file, readFileSync(file, 'utf8'), { sourcemap: true });
    const inline = Buffer.from(JSON.stringify(map)).toString('base64');
    return { format: 'module', source: `${code}\n//# sourceMappingURL=data:application/json;base64,${inline}`, shortCircuit: true };
}

/** The bundler, as the build uses it: from the plugin's folder, or from one that NODE_PATH names. */
function typescript() {
    const require = createRequire(join(process.cwd(), 'package.json'));
    return import(pathToFileURL(require.resolve('rolldown/utils')));
}
