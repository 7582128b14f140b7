"""What the image remembers of earlier tasks: a store on each machine, filled from the server's histories."""
