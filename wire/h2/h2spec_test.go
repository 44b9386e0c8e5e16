//go:build interop

package h2

import (
	"context"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
)

// TestH2SpecStrict runs all 146 cases of h2spec (PATH or $H2SPEC), with and without a stream limit and on both kinds of
// path.
func TestH2SpecStrict(t *testing.T) {
	bin := os.Getenv("H2SPEC")
	if bin == "" {
		var err error
		if bin, err = exec.LookPath("h2spec"); err != nil {
			t.Fatal("h2spec: not in PATH, and H2SPEC is not set; go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible")
		}
	}
	// Two generic cases demand DATA in the answer to a bare GET; a node answers with trailers only, as upstream does.
	wantBody := regexp.MustCompile(`Expected: DATA frame`)
	summary := regexp.MustCompile(`146 tests, (\d+) passed, (\d+) skipped, (\d+) failed`)
	for _, tc := range []struct {
		name, path string
		set        Settings
		bodyless   int // cases that fail for want of a body
		skipped    string
	}{
		{"body", bodyPath, Settings{MaxStreams: 100}, 0, "0"},
		{"refused path", "/", Settings{}, 2, "5"},
		{"channel path", channelPath, Settings{}, 2, "5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host, port, _ := net.SplitHostPort(listenEcho(t, &tc.set).String())
			for _, seconds := range []string{"2", "30"} { // for each frame: the second time for a machine that stood still
				ctx, cancel := context.WithTimeout(t.Context(), hang)
				out, err := exec.CommandContext(ctx, bin, "--strict", "-h", host, "-p", port, "-P", tc.path, "-o", seconds).CombinedOutput()
				cancel()
				m := summary.FindSubmatch(out)
				if m == nil {
					t.Fatalf("h2spec: %v\n%s", err, out)
				}
				// Each failure is printed twice: where it happens and in the list at the end.
				failed, bodyless := string(m[3]), len(wantBody.FindAll(out, -1))/2
				if failed == strconv.Itoa(tc.bodyless) && bodyless == tc.bodyless && string(m[2]) == tc.skipped {
					t.Logf("%s", m[0])
					return
				}
				t.Logf("with %s s for a frame: want %d failures for want of a body, %s skipped:\n%s", seconds, tc.bodyless, tc.skipped, out)
			}
			t.Error("twice")
		})
	}
}
