/** Answers with the files this page was made of, so that it opens without a network; a new bundle brings a new version. */

const OWN = `edgeprune ${registration.scope} `; // other pages of this host keep theirs
const VERSION = `${OWN}@BUNDLE@`;
const FILES = @FILES@;

addEventListener("install", (event) => {
    // past the browser's own cache, which may hold files of the version before
    const requests = FILES.map((name) => new Request(name, { cache: "reload" }));
    event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(requests)).then(() => skipWaiting()));
});

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

async function forgetOthers() {
    const names = await caches.keys();
    const old = names.filter((name) => name.startsWith(OWN) && name !== VERSION);
    await Promise.all(old.map((name) => caches.delete(name)));
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
