//go:build interop

package interop

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestH2SpecOnTheNode runs all strict cases of h2spec 2.2.1 ($H2SPEC or PATH) against the node.
func TestH2SpecOnTheNode(t *testing.T) {
	n := startNode(t, ours)
	passesH2Spec(t, "-h", "127.0.0.1", "-p", strconv.Itoa(n.port))
}

// passesH2Spec runs all strict cases against a node.
func passesH2Spec(t *testing.T, args ...string) {
	t.Helper()
	bin := h2spec(t)
	// For a frame, on a machine that stood still, too: less than the time after which the node closes what does not negotiate,
	// which would be taken for the error that is wanted.
	for _, seconds := range []string{"5", "15"} {
		ctx, cancel := context.WithTimeout(t.Context(), 8*limit)
		out, err := exec.CommandContext(ctx, bin, append([]string{"--strict", "-o", seconds}, args...)...).CombinedOutput()
		cancel()
		if err == nil && strings.Contains(string(out), "146 tests, 146 passed, 0 skipped, 0 failed") {
			return
		}
		t.Logf("with %s s for a frame: %v\n%s", seconds, err, out)
	}
	t.Error("twice")
}

// h2spec returns the path of the program.
func h2spec(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("H2SPEC"); bin != "" {
		return bin
	}
	bin, err := exec.LookPath("h2spec")
	if err != nil {
		t.Fatal("h2spec: not in PATH, and H2SPEC is not set; go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible")
	}
	return bin
}
