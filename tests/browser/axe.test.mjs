/** axe-core looks at every part of the page, wide and narrow, light and dark: nothing serious or critical. */

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { Person, stage } from './harness.mjs';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 390, height: 844 };

const { browser, server } = await stage();

/** Looks at what is on the screen, once nothing moves: a colour on its way is neither the one nor the other. */
async function look(person, where, found) {
  const { page } = person;
  // Given to the page over the debugger's line, so that its CSP stays as it is.
  if (!await page.evaluate(() => 'axe' in window)) await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    await Promise.all(document.getAnimations().filter(({ effect }) => effect.getComputedTiming().iterations !== Infinity).map(({ finished }) => finished.catch(() => {})));
    const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
    return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .flatMap(({ id, nodes }) => nodes.map(({ target, any }) => `${id}: ${target.join(' ')} ${any[0]?.message ?? ''}`));
  });
  found.push(...violations.map((text) => `${where}: ${text}`));
}

for (const [viewport, width] of [[WIDE, 'wide'], [NARROW, 'narrow']]) {
  for (const colorScheme of ['light', 'dark']) {
    test(`${width} and ${colorScheme}: sign-in, chat, DM, tools, two guests`, async () => {
      const found = [];
      const ann = await Person.arrive(browser, server, { viewport, colorScheme, reducedMotion: 'reduce' });
      const { page } = ann;
      await page.getByLabel('Your name').waitFor();
      for (const tab of ['Log in', 'Register', 'Paste a token']) {
        await ann.openTab(tab);
        await look(ann, tab, found);
      }
      await page.locator('#token-input').fill('eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjo3LCJleHAiOjF9.AAAA');
      await page.locator('#token-check').click();
      await page.locator('.token-verdict[data-state=bad]').waitFor();
      await look(ann, 'a token that is checked', found);
      await page.getByLabel('Your name').fill('a\u202eb');
      await page.getByLabel('Your name').press('Enter');
      await page.locator('#guest-form .problem:visible').waitFor();
      await look(ann, 'a refusal', found);

      await page.evaluate(() => sessionStorage.setItem('chat-server-tools', 'off'));
      await ann.asGuest();
      const bob = await (await Person.arrive(browser, server)).asGuest();
      await ann.write(`hello ${width} ${colorScheme}`);
      await ann.stored(`hello ${width} ${colorScheme}`);
      await bob.write(`hello to you ${width} ${colorScheme}`);
      await ann.sees(`hello to you ${width} ${colorScheme}`);
      await look(ann, 'a room', found);
      if (width === 'narrow') {
        await page.locator('#back').click();
        await look(ann, 'the conversations', found);
      }
      await page.locator('#dm-id').fill(String(await bob.id()));
      await page.locator('#dm-id').press('Enter');
      await ann.write('just for you');
      await ann.stored('just for you');
      await look(ann, 'a DM', found);
      await bob.leave();

      await page.locator('#inspector-toggle').click();
      for (const [tab, ready] of [['Frames', '#frames .frame'], ['Raw', '#raw-text'], ['Faults', '.fault-buttons'], ['Token', '#inspector .token-verdict[data-state=good]'], ['Server', '#tool-server svg']]) {
        await page.locator('#inspector').getByRole('tab', { name: tab, exact: true }).click();
        await page.locator(ready).first().waitFor();
        if (tab === 'Frames') await page.locator('#frames summary').last().click();
        await look(ann, `the tool ${tab}`, found);
      }
      await page.locator('#tools-close').click();
      await page.locator('#split-toggle').click();
      await page.locator('#pill-2[data-state=open]').waitFor({ state: 'attached' });
      for (const [side, suffix] of [['1', ''], ['2', '-2']]) {
        const find = (id) => page.locator(`#${id}${suffix}`);
        const choose = page.locator(`#which-${side}`);
        if (await choose.isVisible()) await choose.click();
        // Who sees only one pane of it sees both, one after the other.
        await find('talk').waitFor();
        await find('composer-text').fill(`from side ${side}`);
        await find('composer-text').press('Enter');
        await find('messages').locator('.message .stored').last().waitFor();
        await look(ann, `two guests, talk of side ${side}`, found);
        if (await find('back').isVisible()) await find('back').click();
        await find('sidebar').locator('[aria-current]').waitFor();
        await look(ann, `two guests, conversations of side ${side}`, found);
      }
      await ann.leave();
      assert.deepEqual(found, []);
    });
  }
}
