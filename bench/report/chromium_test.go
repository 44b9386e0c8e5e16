//go:build interop

package report

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/chromium"
)

// look returns what is wrong with the page as it stands in its window: elements that are cut, text that has too little
// contrast (WCAG 2.2 section 1.4.3: 4.5).
const look = `(() => {
	const lum = (c) => { const [r, g, b] = c.match(/[\d.]+/g).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
		return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (!c.endsWith(", 0)")) return c; } return "rgb(255, 255, 255)"; };
	const contrast = (e, c) => { const a = lum(c), b = lum(ground(e)); return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); };
	const seen = (e) => e.getClientRects().length > 0;
	const all = (q) => [...document.querySelectorAll(q)].filter(seen);
	const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
	const out = (r, e) => r.right > e.right + 1 || r.left < e.left - 1;
	const view = {left: 0, right: innerWidth};
	return {
		wide: document.documentElement.scrollWidth, view: innerWidth, ground: getComputedStyle(document.body).backgroundColor,
		spreads: all("figure").length, bars: all("meter").length, small: all("meter").filter((m) => m.clientWidth < 80).length,
		cut: all("body *").filter((e) => out(e.getBoundingClientRect(), view) || e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)
			.map((e) => e.tagName + " " + e.textContent),
		pale: all("body *").filter((e) => own(e) && contrast(e, getComputedStyle(e).color) < 4.5).map((e) => e.tagName + " " + e.textContent),
	};
})()`

// The page stands as it should in narrow and wide windows, light and dark, and asks for nothing.
func TestPageInChromium(t *testing.T) {
	path := filepath.Join(t.TempDir(), "index.html")
	r := fixture()
	r.Command = append(r.Command, "--versus", "rust="+strings.Repeat("/a/long/path", 20))
	if err := Save(path, func(w io.Writer) error { return writeHTML(w, r) }); err != nil {
		t.Fatal(err)
	}
	page := "file://" + path
	b := chromium.Launch(t)
	for _, width := range []int{390, 1400} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d %s", width, scheme), func(t *testing.T) {
				b.Window(width, 900)
				b.Prefer(scheme)
				b.Open(page)
				var seen struct {
					Wide, View, Spreads, Bars, Small int
					Ground                           string
					Cut, Pale                        []string
				}
				b.Eval(look, &seen)
				b.Screenshot(fmt.Sprintf("report-%d-%s", width, scheme))
				if seen.View != width || seen.Wide > width || len(seen.Cut) > 0 {
					t.Errorf("the page is %d wide in a window of %d, and cut are %q", seen.Wide, seen.View, seen.Cut)
				}
				if len(seen.Pale) > 0 {
					t.Errorf("too little contrast have %q", seen.Pale)
				}
				if dark := seen.Ground == "rgb(20, 23, 27)"; dark != (scheme == "dark") {
					t.Errorf("the ground is %s", seen.Ground)
				}
				if seen.Spreads != 6 || seen.Bars < 18 || seen.Small > 0 { // two cases on three nodes
					t.Errorf("%d spreads with %d bars, %d of them too small", seen.Spreads, seen.Bars, seen.Small)
				}
			})
		}
	}
	for _, x := range b.Noise() {
		t.Errorf("the console says %s", x)
	}
	for _, u := range b.Asked() {
		if u != page {
			t.Errorf("the page asked for %s", u)
		}
	}
}
