"""The verbs of the suite, one file each; `import supertau` gives them, and the command line only translates to them."""
