"""Drive the laser from another process, and watch its power."""

from one_liner import RouterClient

if __name__ == "__main__":
    with RouterClient() as client:
        laser = client.proxy("laser")
        print(f"wavelength: {laser.wavelength_nm} nm")
        print(f"power set to {laser.set_power(25)} mW")

        client.configure_stream("laser_power", "queue")
        for _ in range(5):
            timestamp, power_mw = client.get_stream("laser_power", block=True, timeout_s=5)
            print(f"{timestamp:.3f} s: {power_mw:.2f} mW")

        laser.set_power(0)
