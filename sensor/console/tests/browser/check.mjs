// Looks at every page of a running console in a real browser: both languages, both themes, three widths, with and without
// script; axe-core finds no violation, nothing is loaded from elsewhere, and no script of the record runs. What the grid of
// RGAA 4.1 says is checked by machine has to be checked here.
//
//   GRID=rgaa-4.1.tsv node check.mjs http://127.0.0.1:19844 [FOLDER FOR SCREENSHOTS]
//
// MORE has addresses of further pages, such as a report in a file; {lang} in them stands for the language.
// With README=FOLDER it only makes the two screenshots of the README there.
import { createRequire } from "node:module";
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";
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
// What was looked at: rules of axe-core, and checks of this file, by the names that the grid has.
const looked = new Set();
const check = (name, is, text) => { looked.add(`check:${name}`); if (!is) { fault(`${text}: ${name}`); } };
const criteria = process.env.GRID
  ? readFileSync(process.env.GRID, "utf8").split("\n").filter((line) => /^[0-9]/.test(line)).map((line) => line.split("\t"))
  : [];
const of_rule = (rule) => criteria.filter((row) => row[3].split(" ").includes(rule)).map((row) => row[0]).join(", ");

const first = await browser.newPage();
await first.goto(`${base}/?day=all`);
const incident = await first.getAttribute("a.open", "href");
const device = await first.goto(base + incident).then(() => first.getAttribute('dl.facts a[href^="/device/"]', "href"));
await first.close();

if (process.env.README) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, deviceScaleFactor: 1 });
  const session = await page.context().newCDPSession(page);
  await page.goto(`${base}/service/tiktok`);
  const of_first = await page.getAttribute("a.open", "href");
  for (const [name, path] of [["incidents", "/"], ["incident", of_first]]) {
    await page.goto(base + path);
    const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 82 });
    writeFileSync(`${process.env.README}/${name}.webp`, Buffer.from(data, "base64"));
  }
  await browser.close();
  process.exit(0);
}
const paths = ["/", "/?day=all&order=oldest", incident, device, "/coverage", "/coverage?hour=12", "/bans", "/ban/fr", "/services", "/service/tiktok", "/destinations", "/derogations", "/candidates",
  "/audit", "/health", "/keys", "/accessibility", "/no-such-page", ...(process.env.MORE ?? "").split(" ").filter(Boolean)];
const address = (path, lang) => (path.includes("://") ? path.replace("{lang}", lang) : base + path);

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
        let shown = base;
        page.on("request", (request) => { if (!request.url().startsWith(new URL("/", shown).href)) { fault(`${page.url()} loads ${request.url()}`); } });
        page.on("pageerror", (error) => fault(`${page.url()}: ${error}`));
        page.on("console", (message) => {
          const isExpected = /404/.test(message.text());
          if (message.type() === "error" && !isExpected) { fault(`${page.url()}: ${message.text()}`); }
        });
        page.on("dialog", (dialog) => { fault(`${page.url()} opens a dialog: ${dialog.message()}`); dialog.dismiss(); });
        for (const path of paths) {
          const where = `${path} ${lang} ${theme} ${width}${script ? "" : " without script"}`;
          shown = address(path, lang);
          await page.goto(shown);
          views += 1;
          const of = await page.locator("html").getAttribute("lang");
          check("lang", of === lang, `${where}: language ${of}`);
          check("h1", await page.locator("h1").count() === 1, where);
          if (!script) { check("plain", await page.locator("main").innerText().then((text) => text.length > 30), where); }
          if (script) {
            check("doctype", await page.evaluate(() => document.doctype?.name === "html"), where);
            const unnamed = await page.evaluate(() => [...document.querySelectorAll("table")]
              .filter((table) => !table.caption && !table.getAttribute("aria-label")).length);
            check("table-name", unnamed === 0, where);
            const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
            if (wide > 0) { fault(`${where}: ${wide} pixels wider than the window`); }
            // The policy of the pages forbids scripts within them, so axe comes through the inspector.
            const session = await context.newCDPSession(page);
            await session.send("Runtime.evaluate", { expression: axe });
            const { result } = await session.send("Runtime.evaluate", {
              expression: `axe.run(document, { resultTypes: ["violations"] }).then((found) => JSON.stringify({
                rules: [found.violations, found.passes, found.incomplete, found.inapplicable].flat().map((rule) => rule.id),
                violations: found.violations }))`,
              awaitPromise: true, returnByValue: true,
            });
            const { rules, violations } = JSON.parse(result.value ?? '{"rules":[],"violations":[]}');
            rules.forEach((rule) => looked.add(`axe:${rule}`));
            for (const found of violations) {
              const nodes = found.nodes.slice(0, 2).map((node) => node.html.slice(0, 160)).join(" | ");
              fault(`${where}: ${found.id} (RGAA ${of_rule(`axe:${found.id}`)}): ${found.help}: ${nodes}`);
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

// Narrower, with text of twice the size, and with more space in the text: nothing is cut, nothing scrolls to the side.
const SPACED = "*{line-height:1.5!important;letter-spacing:.12em!important;word-spacing:.16em!important} p{margin-bottom:2em!important}";
for (const [name, width, style] of [["width-320", 320, ""], ["text-200", 1280, ":root{font-size:30px!important}"], ["spacing", 1280, SPACED]]) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, bypassCSP: true });
  const page = await context.newPage();
  for (const path of paths) {
    await page.goto(address(path, "fr"));
    if (style) { await page.addStyleTag({ content: style }); }
    views += 1;
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(name, wide <= 0, `${path}: ${wide} pixels too wide`);
    if (shots) { await page.screenshot({ path: `${shots}/${name}-${path.replaceAll(/[^a-z0-9]+/gi, "-")}.png` }); }
  }
  await context.close();
}

// Tab goes through the page and out of it; the first stop skips to the content; every stop is seen.
{
  const page = await browser.newPage();
  await page.goto(base + incident);
  let stops = 0;
  let was_out = false;
  for (; stops < 400 && !was_out; stops += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      const style = getComputedStyle(element);
      return { out: element === document.body, skip: element.matches(".skip"), seen: parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== "none", html: element.outerHTML.slice(0, 90) };
    });
    if (stops === 0) { check("skip", at.skip, "the first stop of Tab"); }
    was_out = at.out && stops > 0;
    if (!was_out) { check("focus", at.seen, at.html); }
  }
  check("trap", was_out && stops > 10, `${stops} stops of Tab`);
  await page.close();
}

// By keyboard alone: from the list to the incident, to the next one, back to the list, to the sections.
const page = await browser.newPage();
const expect = async (what, is) => check("keyboard", await is, what);
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
for (const [key, path] of [["c", "/coverage"], ["b", "/bans"], ["s", "/services"], ["e", "/derogations"], ["n", "/candidates"], ["h", "/health"], ["i", "/"]]) {
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
// Switched off, keys of one letter do nothing.
await page.goto(`${base}/?day=all`);
await page.click("details.menu summary");
await Promise.all([page.waitForNavigation(), page.click('button[name="keys"]')]);
await page.goto(`${base}/?day=all`);
await page.keyboard.press("j");
check("keys-off", await page.evaluate(() => document.activeElement === document.body), "j moves though keys are off");
await browser.close();
const machine = criteria.flatMap((row) => row[3].split(" ").filter((how) => how !== "hand").map((how) => [row[0], how]));
for (const [criterion, how] of machine) {
  if (!looked.has(how)) { fault(`RGAA ${criterion}: ${how} was not looked at`); }
}
console.log(`${views} views, ${faults} faults; ${new Set(machine.map(([criterion]) => criterion)).size} of ${criteria.length} criteria of RGAA 4.1 by machine`);
process.exit(faults === 0 ? 0 : 1);
