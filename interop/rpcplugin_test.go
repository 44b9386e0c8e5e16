//go:build interop

package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The plugin run by buf gives what is in the repository, which compiles: it is built with the examples.
func TestRPCPluginByBuf(t *testing.T) {
	dir := t.TempDir()
	const folder = "../examples/calculator/calculatorpb"
	for _, name := range []string{"calculator.proto", "buf.gen.yaml"} {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("go", "run", "github.com/bufbuild/buf/cmd/buf@v1.75.0", "generate", dir, "--template", filepath.Join(dir, "buf.gen.yaml"), "-o", dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("buf: %v\n%s", err, out)
	}
	for _, name := range []string{"calculator.pb.go", "calculator_slimrpc.pb.go"} {
		sameFile(t, filepath.Join(dir, name), filepath.Join(folder, name))
	}
}

func sameFile(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Errorf("%s is not what the plugin writes now: go generate there", want)
	}
}
