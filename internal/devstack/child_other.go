//go:build !linux

package devstack

import "syscall"

// dieWithOwner has nothing to add to the owner pipe here.
func dieWithOwner() *syscall.SysProcAttr { return nil }
