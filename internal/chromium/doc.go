// Package chromium drives a headless Chromium by its debugging protocol, for tests of pages. It is found as
// $CHROMIUM, chromium, chromium-browser or google-chrome.
package chromium
