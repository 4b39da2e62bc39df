package chaos

import (
	"os"
	"testing"

	"github.com/tintype/tintype/internal/devstack/devtest"
)

func TestMain(m *testing.M) { os.Exit(devtest.Main(m)) }
