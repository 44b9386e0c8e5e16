//go:build interop

package interop

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestH2SpecOnTheNode runs all strict cases of h2spec 2.2.1 ($H2SPEC or PATH) against the node.
func TestH2SpecOnTheNode(t *testing.T) {
	bin := h2spec(t)
	n := startNode(t, ours)
	out, err := exec.Command(bin, "--strict", "-h", "127.0.0.1", "-p", strconv.Itoa(n.port), "-o", "5").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "146 tests, 146 passed, 0 skipped, 0 failed") {
		t.Fatalf("%v\n%s", err, out)
	}
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
