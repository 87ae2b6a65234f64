// Looks at every page of a running console in a real browser: both languages, both themes, three widths, with and without
// script; axe-core finds no violation, nothing is loaded from elsewhere, and no script of the record runs.
//
//   node check.mjs http://127.0.0.1:19844 [FOLDER FOR SCREENSHOTS]
import { createRequire } from "node:module";
import { readFileSync, mkdirSync } from "node:fs";
import { chromium } from "playwright-core";

const [base, shots] = process.argv.slice(2);
if (!base) {
  console.error("usage: node check.mjs URL [FOLDER]");
  process.exit(64);
}
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu"],
});
let faults = 0;
const fault = (text) => { faults += 1; console.error(`FAULT ${text}`); };
let views = 0;

const first = await browser.newPage();
await first.goto(`${base}/?day=all`);
const incident = await first.getAttribute("a.open", "href");
const device = await first.goto(base + incident).then(() => first.getAttribute('dl.facts a[href^="/device/"]', "href"));
await first.close();
const paths = ["/", "/?day=all&order=oldest", incident, device, "/coverage", "/bans", "/ban/fr", "/services", "/service/tiktok", "/destinations",
  "/audit", "/health", "/keys", "/accessibility", "/no-such-page"];

for (const lang of ["en", "fr"]) {
  for (const theme of ["light", "dark"]) {
    for (const width of [360, 1280, 2560]) {
      for (const script of [true, false]) {
        // Without script the pages are the same HTML: one width and theme of each language is enough.
        if (!script && (width !== 1280 || theme !== "light")) { continue; }
        const context = await browser.newContext({ viewport: { width, height: 900 }, javaScriptEnabled: script, bypassCSP: false });
        const host = new URL(base).hostname;
        await context.addCookies([
          { name: "vigie_lang", value: lang, domain: host, path: "/" },
          { name: "vigie_theme", value: theme, domain: host, path: "/" },
        ]);
        const page = await context.newPage();
        page.on("request", (request) => { if (!request.url().startsWith(base)) { fault(`${page.url()} loads ${request.url()}`); } });
        page.on("pageerror", (error) => fault(`${page.url()}: ${error}`));
        page.on("console", (message) => {
          const isExpected = /404/.test(message.text());
          if (message.type() === "error" && !isExpected) { fault(`${page.url()}: ${message.text()}`); }
        });
        page.on("dialog", (dialog) => { fault(`${page.url()} opens a dialog: ${dialog.message()}`); dialog.dismiss(); });
        for (const path of paths) {
          const where = `${path} ${lang} ${theme} ${width}${script ? "" : " without script"}`;
          await page.goto(base + path);
          views += 1;
          const of = await page.locator("html").getAttribute("lang");
          if (of !== lang) { fault(`${where}: language ${of}`); }
          if (await page.locator("h1").count() !== 1) { fault(`${where}: not one heading`); }
          if (script) {
            const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
            if (wide > 0) { fault(`${where}: ${wide} pixels wider than the window`); }
            // The policy of the pages forbids scripts within them, so axe comes through the inspector.
            const session = await context.newCDPSession(page);
            await session.send("Runtime.evaluate", { expression: axe });
            const { result } = await session.send("Runtime.evaluate", {
              expression: "axe.run(document, { resultTypes: ['violations'] }).then((found) => JSON.stringify(found.violations))",
              awaitPromise: true, returnByValue: true,
            });
            for (const found of JSON.parse(result.value ?? "[]")) {
              fault(`${where}: ${found.id}: ${found.help}: ${found.nodes.slice(0, 2).map((node) => node.html.slice(0, 160)).join(" | ")}`);
            }
            if (result.value === undefined) { fault(`${where}: axe did not run`); }
            await session.detach();
          }
          if (shots) {
            mkdirSync(shots, { recursive: true });
            const name = `${path.replaceAll(/[^a-z0-9]+/gi, "-")}-${lang}-${theme}-${width}${script ? "" : "-plain"}`.replace(/^-/, "");
            await page.screenshot({ path: `${shots}/${name}.png` });
          }
        }
        await context.close();
      }
    }
  }
}

// By keyboard alone: from the list to the incident, to the next one, back to the list, to the sections.
const page = await browser.newPage();
const expect = async (what, is) => { if (!(await is)) { fault(`keyboard: ${what}`); } };
await page.goto(`${base}/?day=all`);
await page.keyboard.press("j");
await page.keyboard.press("j");
await expect("j does not move to the second row", page.evaluate(() => document.querySelectorAll("tr[data-row]")[1].contains(document.activeElement)));
await page.keyboard.press("k");
await Promise.all([page.waitForURL(/incident/), page.keyboard.press("o")]);
const here = page.url();
await Promise.all([page.waitForURL((url) => url.href !== here), page.keyboard.press("j")]);
await page.keyboard.press("c");
await expect("c does not select the text for a ticket", page.evaluate(() => getSelection().toString().startsWith("vigie incident")
  || document.activeElement.value.startsWith("vigie incident")));
await page.keyboard.press("Escape");
await Promise.all([page.waitForURL(`${base}/`), page.keyboard.press("u")]);
for (const [key, path] of [["c", "/coverage"], ["b", "/bans"], ["s", "/services"], ["h", "/health"], ["i", "/"]]) {
  await page.keyboard.press("g");
  await Promise.all([page.waitForURL(base + path), page.keyboard.press(key)]);
}
await page.keyboard.press("/");
await expect("/ does not go to the search", page.evaluate(() => document.activeElement.id === "q"));
await page.keyboard.type("tiktok");
await Promise.all([page.waitForURL(/service\/tiktok/), page.keyboard.press("Enter")]);
// A note by hand, and what an analyst decided stands there.
await page.goto(base + incident);
await page.fill("#note", "looked at it <script>alert(1)</script>");
await Promise.all([page.waitForURL(/#done/), page.click('button[value="confirmed"]')]);
await expect("the decision is not shown", page.locator("ol.history").innerText().then((text) => text.includes("Confirmed") && text.includes("<script>alert(1)</script>")));
await browser.close();
console.log(`${views} views, ${faults} faults`);
process.exit(faults === 0 ? 0 : 1);
