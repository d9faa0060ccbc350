from cartwheel.cli.main import main

main()
