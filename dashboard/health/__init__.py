"""How the installation fares: the System page, its readings, the dead letters."""
