//go:build interop

package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// browser finds a Chromium.
func browser(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("no Chromium: install one (Debian: apt-get install chromium), or name it in $CHROMIUM")
	return ""
}

// visit opens a page in a headless browser with its own profile and returns what it printed.
func visit(t *testing.T, page string, flags ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--hide-scrollbars", "--no-first-run", "--disable-extensions",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-features=NetworkTimeServiceQuerying", "--user-data-dir=" + t.TempDir(),
		"--enable-logging=stderr"}, flags...)
	cmd := exec.CommandContext(ctx, browser(t), append(args, "file://"+page)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, errs.String())
	}
	return out.String(), errs.String()
}

// probe is put behind the report's own text: it tells the console how large each drawing came out, and whether anything
// sticks out of the page.
const probe = `<script>
const boxes=[...document.querySelectorAll("figure svg")].map(s=>{const b=s.getBBox();return [Math.round(b.width),Math.round(b.height)]});
console.log("probe "+JSON.stringify({boxes,requests:performance.getEntriesByType("resource").map(r=>r.name),wide:document.documentElement.scrollWidth,view:innerWidth,cut:[...document.querySelectorAll(".cards td")].filter(e=>e.getBoundingClientRect().right>innerWidth||e.scrollWidth>e.clientWidth+1).map(e=>e.textContent),lines:document.querySelectorAll("figure path.line").length}));
</script>`

// policy forbids the page every request and script; a violation would be an error on the console. The probe is a script.
const policy = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`

var probed = regexp.MustCompile(`"probe (\{.*\})"`)

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
	_, console := visit(t, page, "--window-size=1200,2400", "--screenshot="+filepath.Join(shots, "report.png"))
	for line := range strings.Lines(console) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("the console says: %s", line)
		}
	}
	if st, err := os.Stat(filepath.Join(shots, "report.png")); err != nil || st.Size() < 20000 {
		t.Errorf("screenshot: %v", err)
	}
	for _, width := range []int{1200, 500} {
		measure(t, page, width, filepath.Join(shots, fmt.Sprintf("report-%d.png", width)))
	}
}

// measure looks at the drawings from inside the page.
func measure(t *testing.T, page string, width int, shot string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "probed.html")
	text = bytes.Replace(text, []byte(policy), nil, 1)
	if err := os.WriteFile(copied, bytes.Replace(text, []byte("</body>"), []byte(probe+"</body>"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, console := visit(t, copied, fmt.Sprintf("--window-size=%d,1600", width), "--screenshot="+shot)
	m := probed.FindStringSubmatch(console)
	if m == nil {
		t.Fatalf("no word from the page in\n%s", console)
	}
	var seen struct {
		Boxes             [][2]int
		Requests, Cut     []string
		Wide, View, Lines int
	}
	if err := json.Unmarshal([]byte(m[1]), &seen); err != nil {
		t.Fatal(err)
	}
	if len(seen.Requests) > 0 {
		t.Errorf("the page asked for %q", seen.Requests)
	}
	if len(seen.Boxes) != 12 || seen.Lines != 72 { // two cases of six plots; three nodes, two rounds
		t.Errorf("%d drawings with %d lines", len(seen.Boxes), seen.Lines)
	}
	for i, b := range seen.Boxes {
		if b[0] < 300 || b[1] < 150 {
			t.Errorf("drawing %d is %d by %d", i, b[0], b[1])
		}
	}
	if len(seen.Cut) > 0 {
		t.Errorf("at a width of %d cells stick out: %q", seen.View, seen.Cut)
	}
	if seen.Wide > seen.View {
		t.Errorf("at a width of %d the page is %d wide", seen.View, seen.Wide)
	}
}
