/** Answers with the files this page was made of, so that it opens without a network; a new bundle brings a new version. */

const OWN = `edgeprune ${registration.scope} `; // other pages of this host keep theirs
const VERSION = `${OWN}@BUNDLE@`;
const FILES = @FILES@;
const RUNTIMES = @RUNTIMES@; // of LiteRT.js, of which a browser loads one

addEventListener("install", (event) => {
    event.waitUntil(install());
});

// A new version waits here until no page is open: none may load files of two versions.
addEventListener("activate", (event) => {
    event.waitUntil(forgetOthers().then(() => clients.claim()));
});

/** The page names the files of LiteRT.js that it loaded: those for other browsers need not be kept. */
addEventListener("message", (event) => {
    event.waitUntil(keep(event.data).then(() => event.source.postMessage("kept")));
});

addEventListener("fetch", (event) => {
    if (event.request.method === "GET") event.respondWith(answer(event.request));
});

/** Takes all files of this version, and of LiteRT.js what this browser needed in the version before. */
async function install() {
    const before = await Promise.all((await others()).map((name) => caches.open(name)));
    const kept = (await Promise.all(before.map((cache) => cache.keys()))).flat().map(({ url }) => url);
    const needed = RUNTIMES.filter((name) => kept.includes(new URL(name, location).href));
    // past the browser's own cache, which may hold files of the version before
    const requests = [...FILES, ...needed].map((name) => new Request(name, { cache: "reload" }));
    await (await caches.open(VERSION)).addAll(requests);
}

async function forgetOthers() {
    await Promise.all((await others()).map((name) => caches.delete(name)));
}

/** Caches of the other versions of this page. */
async function others() {
    return (await caches.keys()).filter((name) => name.startsWith(OWN) && name !== VERSION);
}

async function keep(addresses) {
    const cache = await caches.open(VERSION);
    const kept = await Promise.all(addresses.map((address) => cache.match(address)));
    await cache.addAll(addresses.filter((_, place) => !kept[place]));
}

async function answer(request) {
    const cache = await caches.open(VERSION);
    return (await cache.match(request, { ignoreSearch: true })) ?? fetch(request);
}
