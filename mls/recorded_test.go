package mls

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Conversations with real Rust members, recorded by the tests of interop (MLS_RECORD=mls/testdata/recorded): each message is processed
// with the private keys of the member who took part, and leads to the same epochs with the same secrets.
func TestRecordedConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/recorded/*.json")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d recordings, %v", len(files), err)
	}
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var c struct {
				Suite      CipherSuite `json:"cipher_suite"`
				KeyPackage hex         `json:"private_key_package"`
				Messages   []struct {
					Kind          string
					Message       hex
					Text          string
					AAD           hex
					Epoch         uint64
					Authenticator hex `json:"epoch_authenticator"`
					Members       int
				}
			}
			if err := json.Unmarshal(b, &c); err != nil {
				t.Fatal(err)
			}
			private := must[*PrivateKeyPackage](t)(ParsePrivateKeyPackage(c.KeyPackage))
			store := &MemoryStore{}
			if err := store.Put(must[[]byte](t)(private.Package.Ref()), private); err != nil {
				t.Fatal(err)
			}
			cfg := &Config{CipherSuite: c.Suite, Key: private.signer, Now: time.Now, KeyPackages: store, Credentials: AcceptAll}
			var g *Group
			seen := map[string]int{}
			for i, m := range c.Messages {
				seen[m.Kind]++
				switch m.Kind {
				case "welcome":
					g = must[*Group](t)(Join(cfg, m.Message, JoinOptions{}))
				case "commit":
					if err := must[*Received](t)(g.Process(m.Message)).Change.Apply(); err != nil {
						t.Fatal(err)
					}
				case "application":
					r := must[*Received](t)(g.Process(m.Message))
					if string(r.Application) != m.Text {
						t.Errorf("message %d reads %q, want %q", i, r.Application, m.Text)
					}
					same(t, "AAD", r.AAD, m.AAD)
				default:
					t.Fatalf("message %d is a %s", i, m.Kind)
				}
				if m.Authenticator == nil || g.Epoch() != m.Epoch || len(g.Members()) != m.Members && g.Active() {
					t.Errorf("message %d: epoch %d, %d members; want %d, %d", i, g.Epoch(), len(g.Members()), m.Epoch, m.Members)
				}
				same(t, "epoch authenticator", authenticator(t, g), m.Authenticator)
			}
			if seen["welcome"] != 1 || seen["application"] == 0 {
				t.Errorf("recording holds %v", seen)
			}
		})
	}
}
