// Package vectors finds the test vectors of the MLS working group for tests: in the folder that the variable MLS_VECTORS
// names, otherwise in the module that ships them and that tests depend on.
package vectors

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// module ships fourteen of the sixteen files.
const module = "github.com/thomas-vilte/mls-go"

var shipped = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	return filepath.Join(strings.TrimSpace(string(out)), "testdata", "mls-interop-testvectors", "test-vectors"), err
})

// Dir is the folder with the files.
func Dir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("MLS_VECTORS"); dir != "" {
		return dir
	}
	dir, err := shipped()
	if err != nil {
		t.Fatalf("cannot find the module %s, which holds the vectors: %v; set MLS_VECTORS to a folder with them", module, err)
	}
	return dir
}

// Read decodes a file of the folder into v.
func Read(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Dir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// Hex is a byte string that stands in JSON as hexadecimal digits.
type Hex []byte

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hex) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	*h = b
	return err
}
