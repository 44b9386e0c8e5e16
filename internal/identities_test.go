package internal

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// An app carries what its identity stands on, and nothing of identities that it does not have.
func TestAppsCarryTheirIdentityOnly(t *testing.T) {
	root := root(t)
	heavy := map[string]string{"JOSE": "github.com/lestrrat-go/jwx", "SPIFFE": "github.com/spiffe/go-spiffe", "gRPC": "google.golang.org/grpc"}
	for pkg, has := range map[string]string{
		"session": "", "session/uplink": "", "session/identity": "", "session/sqlite": "",
		"session/identity/jwt": "JOSE", "session/identity/oidc": "JOSE", "session/identity/spiffe": "SPIFFE gRPC",
	} {
		if find(pkg) == nil {
			t.Errorf("there is no row of %s", pkg)
			continue
		}
		list := exec.Command("go", "list", "-deps", "./"+filepath.FromSlash(pkg))
		list.Dir = root
		out, err := list.Output()
		if err != nil {
			t.Errorf("%s: %v", pkg, err)
			continue
		}
		for name, path := range heavy {
			if carries := strings.Contains(string(out), "\n"+path); carries != strings.Contains(has, name) {
				t.Errorf("%s carries %s: %v", pkg, name, carries)
			}
		}
	}
}
