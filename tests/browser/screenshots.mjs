/**
 * Photographs the page: `node screenshots.mjs <folder>` makes a picture of every part, wide and narrow, light and dark,
 * and with `--readme` only the two that the README shows. They are to be looked at; nothing is compared.
 */

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Person, Server, launchBrowser } from './harness.mjs';

const [folder] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
const forReadme = process.argv.includes('--readme');
if (!folder) {
  console.error('Usage: node screenshots.mjs <folder> [--readme]');
  process.exit(2);
}
await mkdir(folder, { recursive: true });

const SIZES = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };
const TALK = [
  ['Ann', 'Good morning! Is the new build on the staging machine already?'],
  ['Bob', 'Since ten minutes ago. It picked up where the old one stopped, and nobody noticed.'],
  ['Bob', 'I killed it twice on purpose, in the middle of a burst.\nNothing lost, nothing twice.'],
  ['Ann', 'Lovely. How long were they away?'],
  ['Carla', 'Mine was back before I had finished the sentence.'],
  ['Carla', 'شكرا جزيلا، أراك غدا'],
  ['Bob', 'The long list is here: https://example.org/staging/builds/2381/report?sort=duration&group=suite'],
];

const browser = await launchBrowser();
try {
  if (forReadme) await withServer((server) => readme(server, 'light'));
  else {
    for (const colorScheme of ['light', 'dark']) {
      for (const size of Object.keys(SIZES)) await withServer((server) => photograph(server, size, colorScheme));
    }
  }
} finally {
  await browser.close();
}

/** Each set of pictures has a server of its own, so that its lists hold what belongs to it. */
async function withServer(act) {
  const server = await Server.start('--rate-limit', '0');
  try {
    await act(server);
  } finally {
    await server.stop();
  }
}

async function readme(server, colorScheme) {
  const { ann, leave } = await morning(server, { viewport: SIZES.wide, colorScheme });
  const shoot = (name) => ann.page.screenshot({ path: path.join(folder, `${name}.png`) });
  await openFrame(ann);
  await shoot('page');
  await breakConnection(ann);
  await shoot('faults');
  await leave();
}

async function photograph(server, size, colorScheme) {
  const options = { viewport: SIZES[size], colorScheme };
  const pictureOf = ({ page }) => (name) => page.screenshot({ path: path.join(folder, `${name}-${size}-${colorScheme}.png`) });

  const stranger = await Person.arrive(browser, server, options);
  const shootStranger = pictureOf(stranger);
  await stranger.page.getByLabel('Your name').waitFor();
  await shootStranger('sign-in');
  await stranger.openTab('Paste a token');
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 5_000;
  await stranger.page.locator('#token-input').fill(`${part({ alg: 'HS256' })}.${part({ user_id: 1, username: 'mallory', role: 'user', exp })}.AAAA`);
  await stranger.page.getByRole('button', { name: 'Use this token' }).click();
  await stranger.page.locator('#token-form .problem:visible').waitFor();
  await shootStranger('sign-in-token');
  await stranger.leave();

  const { ann, leave } = await morning(server, options);
  const { page } = ann;
  const shoot = pictureOf(ann);
  if (size === 'narrow') {
    await shoot('chat');
    await page.locator('#back').click();
    await shoot('sidebar');
    await ann.openConversation('general');
    await page.locator('#inspector-toggle').click();
  }
  await openFrame(ann);
  await shoot(size === 'wide' ? 'chat-and-frames' : 'frames');
  await tool(ann, 'Raw');
  await page.locator('#raw-template').selectOption('room_history');
  await page.locator('#raw-send').click();
  await page.locator('#raw-answer pre').waitFor();
  await shoot('raw');
  await breakConnection(ann);
  await shoot('faults');
  await tool(ann, 'Token');
  await page.locator('#inspector .token-verdict[data-state=good]').waitFor();
  await shoot('token');
  await tool(ann, 'Server');
  await page.locator('#tool-server svg').first().waitFor();
  await shoot('server');
  await page.locator('#tools-close').click();
  if (size === 'wide') await shoot('chat');
  await talkOfTwo(ann);
  await shoot('split');
  if (size === 'narrow') {
    await page.locator('#which-2').click();
    await shoot('split-second');
  }
  await leave();
}

function tool({ page }, name) {
  return page.locator('#inspector').getByRole('tab', { name, exact: true }).click();
}

/** Ann, and two others who talk with her in a room and one of them by DM. */
async function morning(server, options) {
  const people = { Ann: await (await Person.arrive(browser, server, options)).asGuest('Ann') };
  for (const name of ['Bob', 'Carla']) people[name] = await (await Person.arrive(browser, server)).asGuest(name);
  const { Ann: ann, Bob: bob } = people;
  await join(bob, 'release notes');
  await say(bob, 'Draft is up, please have a look before noon.');
  await bob.openConversation('general');
  for (const [name, text] of TALK) await say(people[name], text);
  await ann.sees(TALK.at(-1)[1]);
  await bob.page.locator('#dm-id').fill(String(await ann.id()));
  await bob.page.locator('#dm-id').press('Enter');
  await say(bob, 'And one thing that is not for the room.');
  await ann.page.locator('#dms .badge').waitFor({ state: 'attached' });
  await ann.page.locator('#people-list li').nth(1).waitFor({ state: 'attached' });
  return { ann, leave: async () => { for (const person of Object.values(people)) await person.leave(); } };
}

async function say(person, text) {
  await person.write(text);
  await person.stored(text);
}

async function join({ page }, room) {
  await page.locator('#join-name').fill(room);
  await page.locator('#join-name').press('Enter');
  await page.locator('#talk-name', { hasText: `#${room}` }).waitFor();
}

/** The last frame of the list, with what is in it. */
async function openFrame(person) {
  await tool(person, 'Frames');
  await person.page.locator('#frames .frame summary').last().click();
  await person.page.locator('#frames .frame-body').waitFor();
}

/** The cable is torn while others write, and the verdict is there. */
async function breakConnection(person) {
  if (!await person.page.locator('#inspector').isVisible()) await person.page.locator('#inspector-toggle').click();
  await tool(person, 'Faults');
  await person.page.locator('.fault-buttons button').first().click();
  await person.page.locator('.report-verdict.good').waitFor();
  await person.page.mouse.move(0, 0);
}

/** A second guest beside the first, and a word from each. */
async function talkOfTwo({ page }) {
  await page.locator('#split-toggle').click();
  await page.locator('#pill-2[data-state=open]').waitFor({ state: 'attached' });
  for (const [suffix, text] of [['-2', 'Hello from the other half of the page.'], ['', 'And it was here at once.']]) {
    const side = page.locator(suffix ? '#which-2' : '#which-1');
    if (await side.isVisible()) await side.click();
    await page.locator(`#composer-text${suffix}`).fill(text);
    await page.locator(`#composer-text${suffix}`).press('Enter');
    for (const other of ['', '-2']) await page.locator(`#messages${other} .content`, { hasText: text }).waitFor({ state: 'attached' });
  }
}
