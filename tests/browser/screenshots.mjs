/** Two guests talk, and the page is photographed: `node screenshots.mjs <folder>`. */

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Person, Server, launchBrowser } from './harness.mjs';

const folder = process.argv[2];
if (!folder) {
  console.error('Usage: node screenshots.mjs <folder>');
  process.exit(2);
}
await mkdir(folder, { recursive: true });

const SIZES = { wide: { width: 1440, height: 900 }, narrow: { width: 390, height: 844 } };
const TALK = [
  ['ann', 'Good morning! Is the new build on the staging machine already?'],
  ['bob', 'Since ten minutes ago. It picked up where the old one stopped, nobody noticed.'],
  ['bob', 'I killed it twice on purpose, in the middle of a burst.\nNothing lost, nothing twice.'],
  ['ann', 'Lovely.'],
  ['ann', 'شكرا جزيلا، أراك غدا'],
  ['bob', 'See you at lunch, then. I will bring the long list: https://example.org/a/rather/long/path/that/does/not/break?and=a&query=too'],
];

const browser = await launchBrowser();
const server = await Server.start();
try {
  for (const colorScheme of ['light', 'dark']) {
    for (const [size, viewport] of Object.entries(SIZES)) await photograph(colorScheme, size, viewport);
  }
} finally {
  await browser.close();
  await server.stop();
}

async function photograph(colorScheme, size, viewport) {
  const shoot = (person, name) => person.page.screenshot({ path: path.join(folder, `${name}-${size}-${colorScheme}.png`) });
  const people = {
    ann: await Person.arrive(browser, server, { viewport, colorScheme }),
    bob: await Person.arrive(browser, server, { viewport: SIZES.wide, colorScheme }),
  };
  const { ann, bob } = people;
  await shoot(ann, 'sign-in');
  await ann.openTab('Paste a token');
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const exp = Math.floor(Date.now() / 1000) + 5_000;
  await ann.page.locator('#token-input').fill(`${part({ alg: 'HS256' })}.${part({ user_id: 1, username: 'mallory', role: 'user', exp })}.AAAA`);
  await ann.page.getByRole('button', { name: 'Use this token' }).click();
  await ann.page.locator('#token-form .problem:visible').waitFor();
  await shoot(ann, 'token');
  await ann.asGuest();
  await bob.asGuest();
  await shoot(ann, 'first');
  for (const person of [ann, bob]) await joinRoom(person, `staging-${size}-${colorScheme}`);
  await shoot(ann, 'empty');
  for (const [name, text] of TALK) {
    await people[name].write(text);
    await people[name].stored(text);
  }
  await ann.sees(TALK.at(-1)[1]);
  await bob.page.locator('#dm-id').fill(String(await ann.id()));
  await bob.page.locator('#dm-id').press('Enter');
  await bob.write('And one thing that is not for the room.');
  await bob.stored('And one thing that is not for the room.');
  await ann.page.locator('#dms .badge').waitFor({ state: 'attached' });
  await shoot(ann, 'room');
  if (size === 'narrow') {
    await ann.page.locator('#back').click();
    await shoot(ann, 'list');
    await ann.page.getByRole('button', { name: 'Tools' }).click();
  }
  await ann.page.locator('#frames .frame summary').last().click();
  await shoot(ann, 'frames');
  if (size === 'narrow') await ann.page.getByRole('button', { name: 'Close the tools' }).click();
  await ann.page.locator('#dms .conversation').click();
  await ann.sees('And one thing that is not for the room.');
  await shoot(ann, 'dm');
  await ann.leave();
  await bob.leave();
}

async function joinRoom(person, room) {
  const back = person.page.locator('#back');
  if (await back.isVisible()) await back.click();
  await person.page.locator('#join-name').fill(room);
  await person.page.locator('#join-name').press('Enter');
  await person.page.locator('#talk-name', { hasText: `#${room}` }).waitFor();
}
