// Name a device from the User-Agent of its sign-in, as its user would. Pure.
//
// The text is a claim of the client: it helps users to recognise their devices, and proves nothing.

// Browsers name those that they resemble as well, so the order matters.
const BROWSERS = [
  [/\bEdg(e|A|iOS)?\//, "Edge"],
  [/\b(OPR|Opera)\//, "Opera"],
  [/\bSamsungBrowser\//, "Samsung Internet"],
  [/\bVivaldi\//, "Vivaldi"],
  [/\b(Firefox|FxiOS)\//, "Firefox"],
  [/\b(Headless)?(Chrome|Chromium|CriOS)\//, "Chrome"],
  [/\bSafari\//, "Safari"],
];
const SYSTEMS = [
  [/\biPhone\b/, "iPhone"],
  [/\biPad\b/, "iPad"],
  [/\bAndroid\b/, "Android"],
  [/\bWindows\b/, "Windows"],
  [/\bMac OS X\b|\bMacintosh\b/, "Mac"],
  [/\bCrOS\b/, "Chromebook"],
  [/\bLinux\b/, "Linux"],
];
const PROGRAM = /^[\w.-]{1,40}(?=\/|\s|$)/; // such as curl/8.5

const nameIn = (names, text) => names.find(([pattern]) => pattern.test(text))?.[1];

/** Return a name such as "Firefox on Windows"; "Unknown device" without anything to go by. */
export function deviceName(userAgent) {
  const text = userAgent ?? "";
  const browser = nameIn(BROWSERS, text);
  const system = nameIn(SYSTEMS, text);
  if (browser && system) return `${browser} on ${system}`;
  return browser ?? system ?? PROGRAM.exec(text)?.[0] ?? "Unknown device";
}
