//go:build interop

package report

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/chromium"
)

// probe tells how large each drawing came out, and whether anything sticks out of the page.
const probe = `({
	boxes: [...document.querySelectorAll("figure svg")].map((s) => { const b = s.getBBox(); return [Math.round(b.width), Math.round(b.height)]; }),
	wide: document.documentElement.scrollWidth, view: innerWidth, lines: document.querySelectorAll("figure path.line").length,
	cut: [...document.querySelectorAll(".cards td")]
		.filter((e) => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth + 1).map((e) => e.textContent),
})`

// policy forbids the page every request and script; a violation would be an error on the console.
const policy = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`

func TestPageRendersInChromium(t *testing.T) {
	dir := t.TempDir()
	if err := WriteDir(dir, fixture()); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "index.html")
	if b, err := os.ReadFile(page); err != nil || !bytes.Contains(b, []byte(policy)) {
		t.Fatalf("the page does not forbid requests: %v", err)
	}
	shots := os.Getenv("SCREENSHOTS")
	if shots == "" {
		shots = t.ArtifactDir()
	}
	b := chromium.Launch(t)
	for _, width := range []int{1200, 500} {
		b.Window(width, 1600)
		b.Open("file://" + page)
		shot := filepath.Join(shots, fmt.Sprintf("report-%d.png", width))
		b.Screenshot(shot)
		if st, err := os.Stat(shot); err != nil || st.Size() < 20000 {
			t.Errorf("screenshot: %v", err)
		}
		measure(t, b, width)
	}
	for _, x := range b.Noise() {
		t.Errorf("the console says: %s", x)
	}
	for _, u := range b.Asked() {
		if u != "file://"+page {
			t.Errorf("the page asked for %s", u)
		}
	}
}

// measure looks at the drawings from inside the page.
func measure(t *testing.T, b *chromium.Browser, width int) {
	t.Helper()
	var seen struct {
		Boxes             [][2]int
		Cut               []string
		Wide, View, Lines int
	}
	b.Eval(probe, &seen)
	if len(seen.Boxes) != 12 || seen.Lines != 72 { // two cases of six plots; three nodes, two rounds
		t.Errorf("%d drawings with %d lines", len(seen.Boxes), seen.Lines)
	}
	for i, b := range seen.Boxes {
		if b[0] < 300 || b[1] < 150 {
			t.Errorf("drawing %d is %d by %d", i, b[0], b[1])
		}
	}
	if len(seen.Cut) > 0 {
		t.Errorf("at a width of %d cells stick out: %q", width, seen.Cut)
	}
	if seen.Wide > seen.View || seen.View != width {
		t.Errorf("at a width of %d the page is %d wide, in a window of %d", width, seen.Wide, seen.View)
	}
}
